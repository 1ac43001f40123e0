// A file that takes all the room of a disk.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';

/** Writes to a file until its disk is full. */
export function fillDisk(path) {
  for (let size = 1 << 20; size > 0; size >>= 1) {
    try {
      for (;;) writeFileSync(path, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      assert.equal(error.code, 'ENOSPC');
    }
  }
}
