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
	if "$@" 2>/dev/null; then broken "this worked: $*"; fi
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

# stopped: stop the VM, which must take less than a minute and leave nothing in the runtime directory.
stopped() {
	timeout 60 systemctl --user stop "claude-vm@$ID.service" || [ $? != 124 ] || broken 'the VM does not stop'
	for _ in $(seq 100); do
		[ -e "$XDG_RUNTIME_DIR/claude-vm/$ID" ] || return 0
		sleep 0.1
	done
	broken 'the runtime directory is left'
}

# plant FILE…: create files in the directory $NAME of the work directory.
plant() {
	for file; do
		mkdir -p "$NAME/$(dirname "$file")"
		echo evil >"$NAME/$file"
	done
}

# reported PATH…: the user sees in claude-vm-ctl guard that these were planted, and nothing else of $NAME.
reported() {
	claude-vm-ctl guard >"$XDG_RUNTIME_DIR/guard"
	for path; do
		grep -q "  $NAME/$path\$" "$XDG_RUNTIME_DIR/guard" || broken "$path is not reported: $(cat "$XDG_RUNTIME_DIR/guard")"
	done
	rm -r "$NAME"
}

# reach SOCKET: connect to a UNIX socket. A name with @ in front is abstract.
reach() {
	perl -e 'use Socket; ($n = $ARGV[0]) =~ s/^@/\0/; socket(S, AF_UNIX, SOCK_STREAM, 0) && connect(S, pack_sockaddr_un($n)) or exit 1' "$1"
}

# datagram SOCKET TEXT: send a message to a UNIX socket, as sd_notify(3) does. SOCK_RAW is another name for
# such sockets.
datagram() {
	perl -e 'use Socket; for (SOCK_DGRAM, SOCK_RAW) { exit 0 if socket(S, AF_UNIX, $_, 0) && defined send(S, $ARGV[1], 0, pack_sockaddr_un($ARGV[0])) } exit 1' "$1" "$2"
}

# killed NUMBER…: each system call must kill the process that makes it. getpid(2) must not.
killed() {
	perl -e 'syscall(39); exit 0'
	for number; do
		status=0
		perl -e 'syscall($ARGV[0]+0, 0, 0, 0, 0, 0)' "$number" || status=$?
		[ $status = 159 ] || broken "call $number: status $status" # SIGSYS
	done
}

# serve SOCKET silent|garbage|FILE: accept connections in the background for a minute, and answer nothing, or
# random bytes, or append what is received to a file. It fails unless the socket listens.
serve() {
	rm -f "$1"
	(timeout 60 setsid python3 -c '
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1].replace("@", "\0"))
s.listen(100)
def answer(c):
    try:
        if sys.argv[2] == "silent":
            while c.recv(9999): pass
        elif sys.argv[2] == "garbage":
            while True: c.sendall(os.urandom(9999))
        while text := c.recv(9999):
            with open(sys.argv[2], "ab") as f: f.write(text)
    except OSError: pass
while True: threading.Thread(target=answer, args=(s.accept()[0],), daemon=True).start()
' "$@" >/dev/null 2>&1 &)
	for _ in $(seq 100); do
		if reach "$1"; then return; fi
		sleep 0.05
	done
	broken "$1 does not listen"
}

# For the guest's root; net.py says what each does.
raw() { python3 "$WORK/net.py" "$@"; }
syn() { raw syn "$@"; }
udp() { raw udp "$@"; }
dns() { raw dns "$@"; }
noanswer() {
	if WAIT=1.5 raw "$@"; then broken "this was answered: $*"; fi
}
http() { raw http "$@" 2>&1 || :; }

# fetch [OPTION…] URL: what curl says, also if it fails.
fetch() {
	curl -sS -m 20 --cacert "$WORK/ca.pem" "$@" 2>&1 || :
}
