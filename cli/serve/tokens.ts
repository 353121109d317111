import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** A secret of 256 bits, in letters that a URL's fragment and a WebSocket's subprotocol may have. */
export const makeToken = (): string => randomBytes(32).toString('base64url');

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Whether it is the token. How long that takes tells nothing: digests are of one length. */
export const isToken = (token: string, given: string | undefined): boolean =>
  given !== undefined && timingSafeEqual(digest(token), digest(given));
