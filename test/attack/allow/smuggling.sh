# Root in the guest smuggles a request for another host: Content-Length against Transfer-Encoding, odd chunks, bare LF.
# Must: no answer to the second one.
# VM: allow
# Slow.
### root
smuggled='GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n'
printf "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n$smuggled" | http | hasnot 'other.test at'
printf "POST / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n$smuggled" | http | hasnot 'other.test at'
printf "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n$smuggled" | http | hasnot 'other.test at'
printf "GET / HTTP/1.1\nHost: example.com\n\n$smuggled" | http | hasnot 'other.test at'
printf "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n$smuggled" | http | hasnot 'other.test at'
