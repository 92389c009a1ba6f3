package guard

import "strings"

// Severity is how easily a file makes a program of the host do something.
type Severity int

// The severities.
const (
	Low    Severity = iota // to build or test the project, when the user does that
	Medium                 // when the user opens the project in a program, or runs a tool for another purpose
	High                   // with the next command of git or the shell
)

// rule selects files by the name of the file or, if the pattern ends with a slash, of a directory
// that contains them. A pattern can have one asterisk.
type rule struct {
	severity Severity
	what     string // what obeys the file
	patterns string // separated by spaces
}

// rules are files in a work directory that programs of the host execute or obey. Files of git
// directories are in gitRules.
var rules = []rule{
	{High, "git uses the repository that it names", ".git"},
	{High, "git obeys it if the configuration of the repository includes it", ".gitconfig"},
	{High, "hg executes its hooks and extensions", "hgrc hgrc-not-shared"},
	{High, "direnv loads it into the shell, after it has asked", ".envrc .direnv/"},
	{High, "mise and asdf load it into the shell", "mise.toml .mise.toml .mise/ mise.local.toml .tool-versions"},
	{Medium, "git uses the filters, diff and merge drivers of your configuration that it selects", ".gitattributes"},
	{Medium, "git submodule clones from the URLs in it", ".gitmodules"},
	{Medium, "git rebase --continue executes the commands in it", "git-rebase-todo"},
	{Medium, "git hooks that npm or a hook manager installs", ".husky/ .githooks/ .pre-commit-config.yaml lefthook.yml .lefthook.yml lefthook-local.yml .overcommit.yml"},
	{Medium, "editors run its tasks, debuggers and extensions", ".vscode/ *.code-workspace .idea/ .fleet/ .zed/ .devcontainer/ .devcontainer.json .vs/"},
	{Medium, "editors and debuggers execute it", ".vimrc .exrc .nvimrc .nvim.lua .dir-locals.el .dir-locals-2.el .gdbinit .lldbinit .sublime-project .projectile"},
	{Medium, "Claude Code and other agents obey it, and run its hooks and servers", ".claude/ CLAUDE.md CLAUDE.local.md AGENTS.md GEMINI.md .mcp.json .cursor/ .cursorrules .cursorignore .windsurfrules .codex/ .gemini/"},
	{Medium, "package managers take registries, scripts and programs from it", ".npmrc .yarnrc .yarnrc.yml .yarn/ .pnpmfile.cjs .pnpmfile.mjs bunfig.toml .bundle/ pip.conf .pypirc .cargo/ rust-toolchain rust-toolchain.toml .bazelrc .bazelversion .mvn/ gradle.properties"},
	{Medium, "linters and formatters, which editors run, execute it", ".eslintrc.js .eslintrc.cjs eslint.config.* .prettierrc.js .prettierrc.cjs prettier.config.* .stylelintrc.js stylelint.config.* .pylintrc .rubocop.yml clippy.toml .clangd"},
	{Medium, "Python executes it when it starts in this directory", "sitecustomize.py usercustomize.py conftest.py"},
	{Medium, "Nix evaluates it, and nix develop and direnv run its hooks", "flake.nix flake.lock shell.nix default.nix devenv.nix devenv.yaml .devenv/"},
	{Low, "the CI service executes it after a push", ".github/ .gitlab-ci.yml .gitlab/ .circleci/ .travis.yml Jenkinsfile azure-pipelines.yml .drone.yml .woodpecker/ .buildkite/ .forgejo/ .gitea/"},
	{Low, "make, just and other runners execute it", "Makefile makefile GNUmakefile *.mk justfile Justfile .justfile Taskfile.yml Taskfile.yaml Rakefile noxfile.py tasks.py dodo.py SConstruct SConscript wscript Earthfile Procfile"},
	{Low, "builds and tests execute it", "package.json build.rs setup.py setup.cfg pyproject.toml tox.ini pytest.ini Gemfile gradlew gradlew.bat *.gradle *.gradle.kts pom.xml mvnw CMakeLists.txt *.cmake configure configure.ac meson.build BUILD BUILD.bazel WORKSPACE MODULE.bazel *.bzl Dockerfile Containerfile compose.yml compose.yaml docker-compose.yml docker-compose.yaml Vagrantfile"},
	{Low, "bundlers and test runners execute it", "vite.config.* vitest.config.* webpack.config.* rollup.config.* babel.config.* .babelrc.js jest.config.* playwright.config.* next.config.* nuxt.config.* svelte.config.* astro.config.* tailwind.config.* postcss.config.* gulpfile.* Gruntfile.*"},
}

// gitRules are files of a git directory.
var gitRules = []rule{
	{High, "git obeys it", "config config.worktree"},
	{High, "git uses another directory in place of this one", "commondir gitdir"},
	// These are directories: a link in place of one is not.
	{High, "git uses what it refers to", "hooks info modules worktrees"},
	{High, "git runs it", "hooks/"},
	{Medium, "git uses the filters, diff and merge drivers of your configuration that it selects", "attributes"},
}

// matcher finds the rule of a name.
type matcher struct {
	files, directories map[string]*rule
	globs              []glob
}

type glob struct {
	prefix, suffix string
	rule           *rule
}

func newMatcher(rules []rule) *matcher {
	m := &matcher{files: map[string]*rule{}, directories: map[string]*rule{}}
	for i := range rules {
		r := &rules[i]
		for pattern := range strings.FieldsSeq(r.patterns) {
			if name, found := strings.CutSuffix(pattern, "/"); found {
				m.directories[name] = r
			} else if prefix, suffix, found := strings.Cut(pattern, "*"); found {
				m.globs = append(m.globs, glob{prefix, suffix, r})
			} else {
				m.files[pattern] = r
			}
		}
	}
	return m
}

var inTree, inGit = newMatcher(rules), newMatcher(gitRules)

// file returns the rule for a file, or nil.
func (m *matcher) file(name string) *rule {
	if r := m.files[name]; r != nil {
		return r
	}
	for _, g := range m.globs {
		if len(name) >= len(g.prefix)+len(g.suffix) && strings.HasPrefix(name, g.prefix) && strings.HasSuffix(name, g.suffix) {
			return g.rule
		}
	}
	return nil
}
