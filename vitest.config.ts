import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{model,native,sampler,cli,build,electron}/**/*.test.ts', 'test/**/*.test.ts'],
    // The addon keeps state a thread; a fork a file is what the programs look like too.
    pool: 'forks',
    testTimeout: 60_000,
  },
});
