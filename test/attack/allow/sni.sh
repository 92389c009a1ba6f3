# Root in the guest connects to an allowed name and says another one in TLS, none, or one in another case.
# Must: denied, unless it is the same name.
# VM: allow
# Slow.
### root
fetch https://example.com/ | has 'example.com at'
fetch https://EXAMPLE.com/ | has 'at 93.184.216.34'
fails curl -sS -k -m 20 --connect-to other.test:443:example.com:443 https://other.test/
fails sh -c 'echo | timeout 20 openssl s_client -connect example.com:443 -noservername 2>/dev/null | grep -q "BEGIN CERT"'
fails sh -c 'echo | timeout 20 openssl s_client -connect example.com:443 -servername other.test 2>/dev/null | grep -q "BEGIN CERT"'
