/** Every command, in the order in which a person meets them. */
import type { Command } from "./command.ts";
import { bootstrap } from "./commands/bootstrap.ts";
import { changes } from "./commands/changes.ts";
import { compactor } from "./commands/compactor.ts";
import { console } from "./commands/console.ts";
import { cost } from "./commands/cost.ts";
import { doctor } from "./commands/doctor.ts";
import { files } from "./commands/files.ts";
import { forget } from "./commands/forget.ts";
import { local } from "./commands/local.ts";
import { sources } from "./commands/sources.ts";
import { status } from "./commands/status.ts";
import { sync } from "./commands/sync.ts";
import { vacuum } from "./commands/vacuum.ts";
import { verify } from "./commands/verify.ts";

export const COMMANDS: readonly Command[] = [
  local,
  compactor,
  changes,
  files,
  verify,
  status,
  console,
  sync,
  sources,
  bootstrap,
  vacuum,
  forget,
  doctor,
  cost,
];
