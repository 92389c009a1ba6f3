# The guest plants files that bundlers and test runners execute.
# Must: the user is told of each.
# Slow.
### claude
plant vite.config.ts vitest.config.ts webpack.config.js rollup.config.js babel.config.js .babelrc.js \
	jest.config.js playwright.config.ts next.config.js nuxt.config.ts svelte.config.js astro.config.mjs \
	tailwind.config.js postcss.config.js gulpfile.js Gruntfile.js
### host
reported vite.config.ts vitest.config.ts webpack.config.js rollup.config.js babel.config.js .babelrc.js \
	jest.config.js playwright.config.ts next.config.js nuxt.config.ts svelte.config.js astro.config.mjs \
	tailwind.config.js postcss.config.js gulpfile.js Gruntfile.js
