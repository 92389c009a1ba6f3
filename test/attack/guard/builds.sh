# The guest plants files that builds and tests execute.
# Must: the user is told of each.
# Slow.
### claude
plant package.json build.rs setup.py setup.cfg pyproject.toml tox.ini pytest.ini Gemfile gradlew a.gradle \
	a.gradle.kts pom.xml mvnw CMakeLists.txt a.cmake configure meson.build BUILD WORKSPACE MODULE.bazel \
	a.bzl Dockerfile compose.yaml Vagrantfile
### host
reported package.json build.rs setup.py setup.cfg pyproject.toml tox.ini pytest.ini Gemfile gradlew \
	a.gradle a.gradle.kts pom.xml mvnw CMakeLists.txt a.cmake configure meson.build BUILD WORKSPACE \
	MODULE.bazel a.bzl Dockerfile compose.yaml Vagrantfile
