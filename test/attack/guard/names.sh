# The guest plants a file whose path has a line break, an escape sequence and a right-to-left override, so that
# the report shows another one.
# Must: the path is quoted.
### claude
dir=$(printf 'a\nb\033[31m\342\200\256')
mkdir -p "$NAME/$dir" && echo evil >"$NAME/$dir/.envrc"
### host
claude-vm-ctl guard >"$XDG_RUNTIME_DIR/guard"
fails grep -q -e "$(printf '\033')" -e "$(printf '\342\200\256')" "$XDG_RUNTIME_DIR/guard"
has 'a\nb\x1b' <"$XDG_RUNTIME_DIR/guard"
rm -r "$NAME"
