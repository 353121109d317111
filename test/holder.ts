import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** What a holder holds, as it told. */
export interface Held {
  readonly pid: number;
  /** Of the mapping. */
  readonly address: number;
  /** Of the memfd. */
  readonly fd: number;
  readonly inode: bigint;
}

const program = `
import ctypes, mmap, os, sys
kind, size = sys.argv[1], int(sys.argv[2])
fd = os.memfd_create('held', os.MFD_CLOEXEC | (os.MFD_HUGETLB | os.MFD_HUGE_2MB if kind == 'hugetlb' else 0))
os.ftruncate(fd, size)
memory = mmap.mmap(fd, size)
if kind != 'hugetlb':
    memory.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, size, 4096):
    memory[at] = 1
view = (ctypes.c_char * size).from_buffer(memory)
print(ctypes.addressof(view), fd, os.fstat(fd).st_ino, flush=True)
sys.stdin.read()
`;

/** Runs `use` beside a process that maps `size` bytes of a memfd and has touched all of its pages, then ends it. */
export async function withHolder<T>(
  kind: 'shmem' | 'hugetlb',
  size: number,
  use: (held: Held) => Promise<T>,
): Promise<T> {
  const child = spawn('python3', ['-c', program, kind, String(size)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const [address, fd, inode] = line.split(' ');
      return await use({
        pid: child.pid ?? -1,
        address: Number(address),
        fd: Number(fd),
        inode: BigInt(inode ?? 0),
      });
    }
    throw new Error('the holder ended early');
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}
