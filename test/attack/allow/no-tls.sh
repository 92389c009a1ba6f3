# Root in the guest sends something else than TLS to port 443 and something else than HTTP to port 80.
# Must: nothing of it arrives.
# VM: allow
# Slow.
### root
printf 'GET / HTTP/1.1\r\nHost: other.test\r\n\r\n' | http 443 | hasnot ' at '
printf 'SSH-2.0-evil\r\n' | http 80 | hasnot ' at '
