/** CPU time of this process so far, in ms. A bound on it tells work without end, however busy the machine is. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
