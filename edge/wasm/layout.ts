/** Where event-copy.ts and its caller meet: addresses in the memory that they share, and what stands there. */

/** Of the source: what is read next. An address, as all below that are said to stand somewhere. */
export const AT = 0;
/** Of the target: what is written next. */
export const OUT = 4;
/** 1 when JSON.parse and JSON.stringify would change what the event says, or it nests too deep. */
export const ODD = 8;
/** Where the value of the context's `userAgent` begins, its colon passed; 0 when it has none. */
export const USER_AGENT_AT = 12;

/** A field is a member of the event that the caller wants to know of. Of each: its name's address and length. */
export const FIELDS_MAX = 32;
export const FIELD_NAMES = 64;
export const FIELD_LENGTHS = 192;
/** What is to be done with it: a sum of the flags. */
export const FIELD_FLAGS = 320;
/** The number of the field of a name, by `slotOf`; NO_FIELD where there is none. */
export const FIELD_SLOTS = 1024;
export const SLOTS = 1024;
export const NO_FIELD = 255;
/** The names themselves. */
export const NAME_BYTES = 2048;

/** Its value is left out. */
export const DROPPED = 1;
/** Its value is left out unless it is an object. */
export const OBJECT_ONLY = 2;
/** As a string it may have escapes in it. */
export const MAY_ESCAPE = 4;
/** It is the context, whose own names are looked at. */
export const WATCHED = 8;
/** What was found of each field: what it is, and where it stands, a string without its quotes. */
export const KINDS = 448;
export const FROM = 512;
export const TO = 640;

export const ABSENT = 0;
export const NULL = 1;
export const STRING = 2;
export const OBJECT = 3;
export const EMPTY_LIST = 4;
export const OTHER = 5;

/** Names of the objects that are open. */
export const OBJECT_NAMES = 4096;
/** What is written around an event's copy. */
export const PIECES = 32768;
/** Here the source begins, and the pieces end. What follows it is 0, for SLACK bytes; then comes the target. */
export const SOURCE = 65536;
export const SLACK = 32;

/** What `copyEvent` says. */
export const BROKEN = 0;
export const COPIED = 1;
export const FOUND = 2;
