# The guest leaves pipes, sockets and directories without permissions.
# Must: the user can remove them, list works, and the guard does not hang.
### claude
mkdir "$NAME" && cd "$NAME" && mkfifo pipe && mkdir -m 1777 sticky && mkdir closed && touch closed/file && chmod 0 closed
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
### host
timeout 60 claude-vm-ctl guard >/dev/null
timeout 60 claude-vm-ctl list >/dev/null
chmod 700 "$NAME/closed" && rm -r "$NAME"
