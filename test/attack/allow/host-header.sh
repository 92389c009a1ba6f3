# Root in the guest connects to an allowed name and asks for another host in HTTP.
# Must: denied.
# VM: allow
# Slow.
### root
fetch http://example.com/ | has 'example.com at'
for host in other.test 'other.test:80' 'example.com.other.test' 'example.com@other.test' 'other.test, example.com'; do
	fetch -H "Host: $host" http://example.com/ | hasnot 'other.test at'
done
