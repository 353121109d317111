/** Debian's browser. */
export const CHROMIUM = '/usr/bin/chromium';

/** Switches of Chromium for a machine without GPU and with a small /dev/shm, and without words to the network. */
export const QUIET = ['--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'];
