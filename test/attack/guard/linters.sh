# The guest plants files that linters execute, which editors run when a file is opened.
# Must: the user is told of each.
# Slow.
### claude
plant .eslintrc.js .eslintrc.cjs eslint.config.mjs .prettierrc.js .prettierrc.cjs prettier.config.js \
	.stylelintrc.js stylelint.config.js .pylintrc .rubocop.yml clippy.toml .clangd
### host
reported .eslintrc.js .eslintrc.cjs eslint.config.mjs .prettierrc.js .prettierrc.cjs prettier.config.js \
	.stylelintrc.js stylelint.config.js .pylintrc .rubocop.yml clippy.toml .clangd
