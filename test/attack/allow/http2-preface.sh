# Root in the guest starts HTTP/2 without TLS, in which the gateway would not see the host.
# Must: rejected.
# VM: allow
# Slow.
### root
printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0' | http | hasnot ' at '
