import { storeContract } from "../shared/store.contract.ts";
import { memoryStore } from "./store.ts";

const store = memoryStore();
storeContract("the store in memory", () => store);
