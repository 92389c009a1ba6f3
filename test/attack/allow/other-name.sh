# Root in the guest connects to names that are not allowed, over HTTP and TLS.
# Must: denied; the allowed one works.
# VM: allow
# Slow.
### root
fetch https://example.com/ | has 'example.com at'
fetch http://other.test/ | has 'the name is not in Allow='
fails curl -sS -m 20 --cacert ca.pem https://other.test/
