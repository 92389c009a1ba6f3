# Root in the guest sends thousands of first fragments of datagrams that it never ends.
# Must: the gateway forgets them and survives.
# Slow.
### root
raw fragments 4000
fetch http://example.com/ | has 'example.com at'
