# Root in the guest asks for names with reasons full of escape sequences, and very often.
# Must: the user sees them quoted, and few.
# Slow.
### root
python3 -c '
import http.client
for i in range(60):
    c = http.client.HTTPConnection("gateway.internal", timeout=20)
    c.request("POST", "/ask", b"n%d.test evil \033[31m\033]0;title\007 \342\200\256" % i)
    c.getresponse().read()'
### host
claude-vm-ctl network >"$XDG_RUNTIME_DIR/out"
grep -q 'Request: n' "$XDG_RUNTIME_DIR/out"
fails grep -q -e "$(printf '\033')" -e "$(printf '\342\200\256')" "$XDG_RUNTIME_DIR/out"
[ "$(grep -c 'Request: n' "$XDG_RUNTIME_DIR/out")" -le 20 ]
fails journalctl --user --no-pager -o cat -n 2000 -u "claude-vm-gateway@$ID.service" --grep="$(printf '\033')"
