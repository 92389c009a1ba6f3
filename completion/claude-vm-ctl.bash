# bash completion for claude-vm-ctl, which itself says what may come next: a line
# for each, and " /" for any directory. It is asked without the word at the cursor.
_claude_vm_ctl() {
	local current=${COMP_WORDS[COMP_CWORD]} kind='' word
	local -a before=()
	COMPREPLY=()
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in
		--)
			compopt -o default # what follows is Claude's or a command's
			return
			;;
		=) ;; # bash cuts --flag=value in three
		*) before+=("$word") ;;
		esac
	done
	case $current in
	=) current='' ;;
	-*) kind=--flags ;;
	esac
	while IFS= read -r word || [[ $word ]]; do
		case $word in
		' /') compopt -o filenames -o plusdirs ;;
		' ') ;;
		"$current"*) COMPREPLY+=("$word") ;;
		esac
	done < <(claude-vm-ctl --completion-bash "${before[@]}" "$kind" 2>/dev/null)
}
complete -F _claude_vm_ctl claude-vm-ctl
