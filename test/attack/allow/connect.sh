# Root in the guest asks the allowed server to be a proxy to another one.
# Must: CONNECT is denied.
# VM: allow
# Slow.
### root
printf 'CONNECT other.test:80 HTTP/1.1\r\nHost: example.com\r\n\r\n' | http | hasnot '200 '
