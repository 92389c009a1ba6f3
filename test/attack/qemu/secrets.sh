# QEMU reads the secrets that the gateway adds to requests.
# Must: neither their file nor the gateway's directory is there.
# VM: taken
### host
grep -q "$KEY" "$XDG_RUNTIME_DIR/claude-vm/.$ID.secrets"
### qemu
[ "$(ls -A .. | grep -v -x -F -e "$ID" -e ".$ID.record")" = '' ]
fails grep -rqsE -D skip 'sk-ant-test-[0-9]{20}' ..
