# The guest plants files that hook managers install as git hooks.
# Must: the user is told of each.
# Slow.
### claude
plant .husky/pre-commit .githooks/x .pre-commit-config.yaml lefthook.yml .lefthook.yml lefthook-local.yml \
	.overcommit.yml
### host
reported .husky .githooks .pre-commit-config.yaml lefthook.yml .lefthook.yml lefthook-local.yml \
	.overcommit.yml
