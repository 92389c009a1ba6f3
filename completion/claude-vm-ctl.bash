# bash completion for claude-vm-ctl. The program itself prints the completions, one a
# line, with " /" for any directory, and is called without the word at the cursor.
_claude_vm_ctl() {
	local current=${COMP_WORDS[COMP_CWORD]} kind='' word
	local -a before=()
	COMPREPLY=()
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in
		--)
			compopt -o default # arguments of Claude or of a command
			return
			;;
		=) ;; # bash splits --flag=value into three words
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
