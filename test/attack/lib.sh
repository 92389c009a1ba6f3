# shellcheck shell=sh
# Before every step of an attack. A step ends at the first command that fails, and the attack has
# then succeeded or cannot be judged: both are failures of the test.
set -eu

broken() {
	echo "broken: $*" >&2
	exit 1
}

# fails COMMAND: COMMAND must fail. ("! COMMAND" would not end the step.)
fails() {
	if "$@"; then broken "this worked: $*"; fi
}

# has TEXT: standard input has TEXT. hasnot TEXT: it does not.
has() {
	read_all=$(cat)
	case $read_all in
	*"$1"*) ;;
	*) broken "no \"$1\" in: $read_all" ;;
	esac
}
hasnot() {
	read_all=$(cat)
	case $read_all in
	*"$1"*) broken "\"$1\" is in: $read_all" ;;
	esac
}
