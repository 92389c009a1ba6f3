# The guest plants files that package managers take registries, scripts and programs from.
# Must: the user is told of each.
# Slow.
### claude
plant .npmrc .yarnrc .yarnrc.yml .yarn/x .pnpmfile.cjs .pnpmfile.mjs bunfig.toml .bundle/x pip.conf \
	.pypirc .cargo/config.toml rust-toolchain rust-toolchain.toml .bazelrc .bazelversion .mvn/x \
	gradle.properties
### host
reported .npmrc .yarnrc .yarnrc.yml .yarn .pnpmfile.cjs .pnpmfile.mjs bunfig.toml .bundle pip.conf .pypirc \
	.cargo rust-toolchain rust-toolchain.toml .bazelrc .bazelversion .mvn gradle.properties
