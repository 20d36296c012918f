/**
 * Memory beside V8's heap that V8 does not know of. What it counts as a heap's own makes it collect garbage, some 64 MB
 * at a time, over all threads that it has; shared memory it counts as nobody's. (`external` of `process.memoryUsage()`.)
 */
export type Memory = Buffer<SharedArrayBuffer>;

export const newMemory = (bytes: number): Memory => Buffer.from(new SharedArrayBuffer(bytes));
