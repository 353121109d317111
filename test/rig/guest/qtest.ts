/**
 * Client of QEMU's qtest protocol (softmmu/qtest.c): a test program does what the guest's processor would do, port
 * and memory accesses, one text line each. Replies come in order, so callers may send many commands before the
 * first reply.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

type Width = 1 | 2 | 4;

const letter = { 1: 'b', 2: 'w', 4: 'l' } as const;

interface Pending {
  readonly line: string;
  readonly resolve: (value: string) => void;
  readonly reject: (error: Error) => void;
}

export class Qtest {
  readonly #socket: Socket;
  readonly #pending: Pending[] = [];
  #received = '';
  #broken: Error | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', error => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('qtest: QEMU closed the connection')));
  }

  /** Connects to `path` once it exists; asks `alive` before each new attempt, which throws when it never will. */
  static async open(path: string, alive: () => void): Promise<Qtest> {
    for (;;) {
      alive();
      const socket = await new Promise<Socket | null>(resolve => {
        const attempt = connect(path);
        attempt.once('connect', () => resolve(attempt));
        attempt.once('error', () => resolve(null));
      });
      if (socket !== null) {
        socket.removeAllListeners('error');
        return new Qtest(socket);
      }
      await sleep(50);
    }
  }

  /** Sends one command; resolves to what follows `OK`, which may be empty. */
  command(line: string): Promise<string> {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    return new Promise((resolve, reject) => {
      this.#pending.push({ line, resolve, reject });
      this.#socket.write(`${line}\n`);
    });
  }

  /** Reads an I/O port. */
  async in(port: number, width: Width): Promise<number> {
    return Number(await this.command(`in${letter[width]} ${hex(port)}`));
  }

  /** Writes an I/O port. */
  async out(port: number, value: number, width: Width): Promise<void> {
    await this.command(`out${letter[width]} ${hex(port)} ${hex(value >>> 0)}`);
  }

  /** Reads guest physical memory or a device register, in the machine's byte order. */
  async read(address: number, width: Width): Promise<number> {
    return Number(await this.command(`read${letter[width]} ${hex(address)}`));
  }

  async write(address: number, value: number, width: Width): Promise<void> {
    await this.command(`write${letter[width]} ${hex(address)} ${hex(value >>> 0)}`);
  }

  async write64(address: number, value: number): Promise<void> {
    await this.command(`writeq ${hex(address)} ${hex(value)}`);
  }

  async readBytes(address: number, length: number): Promise<Buffer> {
    return Buffer.from(await this.command(`b64read ${hex(address)} ${hex(length)}`), 'base64');
  }

  async writeBytes(address: number, bytes: Uint8Array): Promise<void> {
    const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
    await this.command(`b64write ${hex(address)} ${hex(bytes.byteLength)} ${data}`);
  }

  /** Sets `length` bytes of guest memory to `byte`. */
  async fill(address: number, length: number, byte: number): Promise<void> {
    await this.command(`memset ${hex(address)} ${hex(length)} ${hex(byte)}`);
  }

  close(): void {
    this.#broken = new Error('qtest: closed');
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#received += text;
    for (let end = this.#received.indexOf('\n'); end >= 0; end = this.#received.indexOf('\n')) {
      const line = this.#received.slice(0, end);
      this.#received = this.#received.slice(end + 1);
      // Interrupt lines arrive unasked once interrupts are intercepted.
      if (line.startsWith('IRQ ')) continue;
      const pending = this.#pending.shift();
      if (line === 'OK' || line.startsWith('OK ')) pending?.resolve(line.slice(3));
      else pending?.reject(new Error(`qtest: ${pending.line.slice(0, 80)}: ${line}`));
    }
  }

  #fail(error: Error): void {
    this.#broken ??= error;
    for (const pending of this.#pending.splice(0)) pending.reject(this.#broken);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
