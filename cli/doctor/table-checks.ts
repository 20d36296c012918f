/** The table, its stream, and each call that the edge, the compactor and the operators make. Nothing is changed. */
import {
  BatchGetItemCommand,
  BatchWriteItemCommand,
  DescribeContinuousBackupsCommand,
  DescribeTableCommand,
  DescribeTimeToLiveCommand,
  ScanCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import type { DynamoDBClient, TableDescription } from "@aws-sdk/client-dynamodb";
import type { DynamoDBStreamsClient, Shard } from "@aws-sdk/client-dynamodb-streams";
import {
  DescribeStreamCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  ListStreamsCommand,
} from "@aws-sdk/client-dynamodb-streams";
import { many } from "../../shared/amounts.ts";
import type { Check, Finding } from "./check.ts";
import { fail, ok, skipped, warn } from "./check.ts";

export type TableChecksDeps = {
  readonly tables: DynamoDBClient;
  readonly streams: DynamoDBStreamsClient;
  readonly table: string;
  /** A key never used before. */
  readonly unique: string;
};

const grant = (who: string, action: string): string =>
  `The ${who} needs ${action}: allow it to these credentials; deploy/aws/varve.yaml has the policy.`;

const UNSUPPORTED = new Set(["UnknownOperationException", "UnknownError", "NotImplemented"]);

/** Not every DynamoDB has every call. */
async function whereSupported(run: () => Promise<Finding>): Promise<Finding> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Error && UNSUPPORTED.has(error.name))
      return skipped("this DynamoDB has no such call");
    throw error;
  }
}

const errorName = (error: unknown): string => (error instanceof Error ? error.name : "");

export function tableChecks({ tables, streams, table, unique }: TableChecksDeps): readonly Check[] {
  const name = { TableName: table };
  const key = { pk: { S: `_doctor#${unique}` } };
  const enable = `aws dynamodb update-table --table-name ${table} --stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE`;
  let described: TableDescription = {};
  let shard: Shard | undefined;
  let iterator: string | undefined;

  return [
    {
      id: "table",
      title: "the table is there (dynamodb:DescribeTable)",
      fix: grant("compactor", "dynamodb:DescribeTable"),
      run: async () => {
        try {
          described = (await tables.send(new DescribeTableCommand(name))).Table ?? {};
        } catch (error) {
          if (errorName(error) !== "ResourceNotFoundException") throw error;
          return fail(
            `there is no table ${table}`,
            "Deploy deploy/aws/varve.yaml, or correct DYNAMODB_TABLE and AWS_REGION.",
          );
        }
        const { TableStatus: status, ItemCount: items } = described;
        return status === "ACTIVE" || status === "UPDATING"
          ? ok(`${table}: ${status}, some ${many(items ?? 0, "item")}`)
          : fail(`${table} is ${status}`, "Wait until it is ACTIVE.");
      },
    },
    {
      id: "key",
      title: "its key is pk, a string",
      needs: ["table"],
      fix: "",
      run: async () => {
        const keys = (described.KeySchema ?? []).map((one) => `${one.AttributeName} ${one.KeyType}`);
        const type = described.AttributeDefinitions?.find((one) => one.AttributeName === "pk")?.AttributeType;
        return keys.length === 1 && keys[0] === "pk HASH" && type === "S"
          ? ok("pk")
          : warn(
              `its key is ${keys.join(", ")}`,
              "The edge cannot write to this table. The compactor takes any; to receive events, make a table with the string key pk.",
            );
      },
    },
    {
      id: "stream",
      title: "its stream is on and shows new images",
      needs: ["table"],
      fix: "",
      run: async () => {
        const { StreamEnabled: isOn, StreamViewType: view } = described.StreamSpecification ?? {};
        if (isOn !== true) return fail("the table has no stream", `Enable it: ${enable}`);
        return view === "NEW_IMAGE" || view === "NEW_AND_OLD_IMAGES"
          ? ok(view)
          : fail(
              `the stream shows ${view}`,
              `Disable it (StreamEnabled=false), then enable it again: ${enable}`,
            );
      },
    },
    {
      id: "stream-list",
      title: "streams can be found (dynamodb:ListStreams)",
      needs: ["stream"],
      fix: grant("compactor", "dynamodb:ListStreams"),
      run: async () => {
        const { Streams: found = [] } = await streams.send(new ListStreamsCommand(name));
        return found.length > 0
          ? ok(`${found.length} found`)
          : fail("none is listed, though the table has one", "Check DYNAMODB_STREAMS_ENDPOINT.");
      },
    },
    {
      id: "stream-describe",
      title: "its shards can be listed (dynamodb:DescribeStream)",
      needs: ["stream"],
      fix: grant("compactor", "dynamodb:DescribeStream"),
      run: async () => {
        const { StreamDescription: stream } = await streams.send(
          new DescribeStreamCommand({ StreamArn: described.LatestStreamArn ?? "" }),
        );
        shard = stream?.Shards?.at(-1);
        return shard === undefined
          ? warn("it has no shards yet", "Wait a moment after the stream is enabled, and run this again.")
          : ok(`${many(stream?.Shards?.length ?? 0, "shard")} on its first page`);
      },
    },
    {
      id: "stream-iterator",
      title: "a shard can be opened (dynamodb:GetShardIterator)",
      needs: ["stream-describe"],
      fix: grant("compactor", "dynamodb:GetShardIterator"),
      run: async () => {
        if (shard?.ShardId === undefined) return skipped("there is no shard yet");
        const opened = await streams.send(
          new GetShardIteratorCommand({
            StreamArn: described.LatestStreamArn ?? "",
            ShardId: shard.ShardId,
            ShardIteratorType: "LATEST",
          }),
        );
        iterator = opened.ShardIterator;
        return ok(shard.ShardId);
      },
    },
    {
      id: "stream-read",
      title: "a shard can be read (dynamodb:GetRecords)",
      needs: ["stream-iterator"],
      fix: grant("compactor", "dynamodb:GetRecords"),
      run: async () => {
        if (iterator === undefined) return skipped("there is no shard yet");
        await streams.send(new GetRecordsCommand({ ShardIterator: iterator, Limit: 1 }));
        return ok("read");
      },
    },
    {
      id: "write",
      title: "events can be written (dynamodb:BatchWriteItem)",
      needs: ["key"],
      fix: grant("edge", "dynamodb:BatchWriteItem"),
      run: async () => {
        // Deleting what is not there changes nothing, and shows in no stream.
        const requests = { [table]: [{ DeleteRequest: { Key: key } }] };
        await tables.send(new BatchWriteItemCommand({ RequestItems: requests }));
        return ok("allowed (tried with the deletion of nothing)");
      },
    },
    {
      id: "update",
      title: "objects can be written (dynamodb:UpdateItem)",
      needs: ["key"],
      fix: grant("edge", "dynamodb:UpdateItem"),
      run: async () => {
        try {
          await tables.send(
            new UpdateItemCommand({
              ...name,
              Key: key,
              UpdateExpression: "SET event_at = :t",
              ConditionExpression: "attribute_exists(pk)",
              ExpressionAttributeValues: { ":t": { N: "0" } },
            }),
          );
        } catch (error) {
          if (errorName(error) === "ConditionalCheckFailedException")
            return ok("allowed (tried on a condition that cannot hold)");
          throw error;
        }
        return fail("a condition that cannot hold was taken", "This DynamoDB does not honour conditions.");
      },
    },
    {
      id: "read-items",
      title: "items can be read (dynamodb:BatchGetItem, Scan)",
      needs: ["key"],
      fix: grant("operator (varve verify, varve forget)", "dynamodb:BatchGetItem and dynamodb:Scan"),
      run: async () => {
        await tables.send(new BatchGetItemCommand({ RequestItems: { [table]: { Keys: [key] } } }));
        await tables.send(new ScanCommand({ ...name, Limit: 1 }));
        return ok("allowed");
      },
    },
    {
      id: "ttl",
      title: "items expire by expires_at (dynamodb:DescribeTimeToLive)",
      needs: ["table"],
      fix: grant("operator", "dynamodb:DescribeTimeToLive"),
      run: () =>
        whereSupported(async () => {
          const { TimeToLiveDescription: ttl } = await tables.send(new DescribeTimeToLiveCommand(name));
          const isOn = ttl?.TimeToLiveStatus === "ENABLED" || ttl?.TimeToLiveStatus === "ENABLING";
          return isOn && ttl?.AttributeName === "expires_at"
            ? ok("on")
            : warn(
                `time to live is ${isOn ? `on ${ttl?.AttributeName}` : "off"}: events stay in the table for ever, and are paid for`,
                `aws dynamodb update-time-to-live --table-name ${table} --time-to-live-specification Enabled=true,AttributeName=expires_at`,
              );
        }),
    },
    {
      id: "recovery",
      title: "the table can be restored (dynamodb:DescribeContinuousBackups)",
      needs: ["table"],
      fix: grant("operator", "dynamodb:DescribeContinuousBackups"),
      run: () =>
        whereSupported(async () => {
          const { ContinuousBackupsDescription: backups } = await tables.send(
            new DescribeContinuousBackupsCommand(name),
          );
          return backups?.PointInTimeRecoveryDescription?.PointInTimeRecoveryStatus === "ENABLED"
            ? ok("point-in-time recovery is on")
            : warn(
                "point-in-time recovery is off",
                `aws dynamodb update-continuous-backups --table-name ${table} --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true`,
              );
        }),
    },
  ];
}
