# fish completion for claude-vm-ctl. The program itself prints the completions, one a
# line, with " /" for any directory, and is called without the word at the cursor.
function __claude_vm_ctl_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l prefix ''
    set -l kind ''
    if contains -- -- $before # arguments of Claude or of a command
        __fish_complete_path $current
        return
    end
    if string match -q -- '--*=*' $current
        set prefix (string replace -r '=.*' '=' -- $current)
        set -a before (string replace -r '=.*' '' -- $current)
    else if string match -q -- '-*' $current
        set kind --flags
    end
    for word in (command claude-vm-ctl --completion-bash $before[2..-1] $kind 2>/dev/null)
        switch $word
            case ' /'
                __fish_complete_directories $current ''
            case ' '
            case '*'
                echo $prefix$word
        end
    end
end
complete -c claude-vm-ctl -f -a '(__claude_vm_ctl_complete)'
