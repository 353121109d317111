import { defineConfig } from 'vitest/config';

/** Tests of the packaged window: npm run test:e2e. */
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.e2e.ts'],
    globalSetup: ['test/e2e/setup.ts'],
    pool: 'forks',
    // Windows on one display take the focus from each other.
    fileParallelism: false,
    // With room for launches that are repeated (test/e2e/launch.ts).
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
