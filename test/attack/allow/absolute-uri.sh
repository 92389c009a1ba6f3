# Root in the guest asks for another host by an absolute URI, as of a proxy.
# Must: denied.
# VM: allow
# Slow.
### root
printf 'GET http://other.test/ HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n' | http | hasnot 'other.test at'
