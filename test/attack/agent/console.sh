# Root in the guest writes escape sequences, priorities and lines of other programs to the console.
# Must: the journal has them as the guest's, with a low priority, and "logs" prints no escape sequence.
### root
printf '<0>shout-%s\n\033]0;title-%s\007\n' "$NAME" "$NAME" >/dev/ttyS0
sleep 1
### host
for _ in $(seq 100); do
	journalctl --user --no-pager -o cat --grep="shout-$NAME" >"$XDG_RUNTIME_DIR/out" || :
	[ -s "$XDG_RUNTIME_DIR/out" ] && break
	sleep 0.1
done
[ -s "$XDG_RUNTIME_DIR/out" ]
[ -z "$(journalctl --user --no-pager -q -p 5 --grep="shout-$NAME")" ]
journalctl --user --no-pager -o json --grep="shout-$NAME" | has '"SYSLOG_IDENTIFIER":"claude-vm-guest"'
claude-vm-ctl logs -n 50 | fails grep -q "$(printf '\033')"
