# Root in the guest changes what is read-only: by writing, appending, truncating, mapping, chmod, touch, xattrs.
# Must: the host refuses each.
### root
cat locked/deep/file | has host
for try in 'echo evil >locked/deep/file' 'echo evil >>locked/deep/file' 'truncate -s 0 locked/deep/file' 'chmod 777 locked/deep/file' \
	'touch -d 2001-01-01 locked/deep/file' 'rm locked/deep/file' 'touch locked/new' 'mkdir locked/new' 'ln plain locked/hard' \
	'python3 -c "import os; os.setxattr(\"locked/deep/file\", \"user.evil\", b\"x\")"'; do
	fails sh -c "$try"
done
### host
[ "$(cat locked/deep/file)" = host ] && [ "$(find locked | wc -l)" = 3 ]
