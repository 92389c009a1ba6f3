# A web server redirects the guest to the metadata service.
# Must: denied as if it had been asked for directly.
# Slow.
### root
fetch --location --resolve example.com:80:198.18.255.1 http://example.com/ | hasnot 'at 169.254'
fetch --location -H 'Host: meta.test' http://example.com/ | hasnot 'at 169.254'
