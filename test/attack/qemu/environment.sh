# QEMU looks for secrets in its environment, which is the user manager's.
# Must: it has only the variables of the VM.
# VM: taken
### host
systemctl --user show-environment | grep -q XDG_RUNTIME_DIR
### qemu
env | has PATH=
left=$(env | cut -d= -f1 | grep -v -x -e PATH -e GUEST -e PROGRAM -e PWD -e OLDPWD -e SHLVL -e _ || :)
[ -z "$left" ] || broken "$left"
