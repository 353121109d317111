import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { CaseContext } from '../case.ts';

/** Address of the VM in QEMU's user network. */
const ADDRESS = '10.0.2.15';

/** Brings the network card up: addresses as QEMU's user network has them. */
export async function networkUp(t: CaseContext): Promise<void> {
  await t.sh(
    `modprobe virtio_net; for i in $(seq 50); do [ -e /sys/class/net/eth0 ] && break; sleep 0.1; done
     busybox ip link set lo up; busybox ip addr add ${ADDRESS}/24 dev eth0; busybox ip link set eth0 up`,
  );
}

/** The near end of `ssh -L PORT:127.0.0.1:PORT`: what reaches the VM at this port goes on to its loopback address. */
export async function tunnel(t: CaseContext, port: number): Promise<void> {
  const server = createServer(outside => {
    const inside = connect(port, '127.0.0.1');
    outside.pipe(inside).pipe(outside);
    for (const [one, other] of [
      [outside, inside],
      [inside, outside],
    ] as const)
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
  }).listen(port, ADDRESS);
  await once(server, 'listening');
  t.atEnd(async () => void server.close());
}
