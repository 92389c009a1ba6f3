# The guest plants files that the CI service executes after a push.
# Must: the user is told of each.
# Slow.
### claude
plant .github/workflows/x.yml .gitlab-ci.yml .gitlab/x .circleci/x .travis.yml Jenkinsfile \
	azure-pipelines.yml .drone.yml .woodpecker/x .buildkite/x .forgejo/x .gitea/x
### host
reported .github .gitlab-ci.yml .gitlab .circleci .travis.yml Jenkinsfile azure-pipelines.yml .drone.yml \
	.woodpecker .buildkite .forgejo .gitea
