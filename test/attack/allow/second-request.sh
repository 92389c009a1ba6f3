# Root in the guest asks for another host in the second request of a connection.
# Must: denied.
# VM: allow
# Slow.
### root
printf 'GET / HTTP/1.1\r\nHost: example.com\r\n\r\nGET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n' | http >out
has 'example.com at' <out
hasnot 'other.test at' <out
