import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Runes in renderer/**/*.svelte.ts are compiled as for the page.
  plugins: [svelte({ configFile: false })],
  // Tests read the bundled session.
  assetsInclude: ['**/*.pinscope'],
  test: {
    include: ['{model,native,sampler,cli,build,electron,renderer}/**/*.test.ts', 'test/**/*.test.ts'],
    // The addon keeps state a thread; a fork a file is what the programs look like too.
    pool: 'forks',
    testTimeout: 60_000,
    // Hooks build what is not built yet.
    hookTimeout: 120_000,
    // tokens.test.ts reads the real colours.
    css: true,
  },
});
