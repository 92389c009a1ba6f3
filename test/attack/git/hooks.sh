# Root in the guest adds or changes hooks of the repository.
# Must: refused, because the directory is read-only; git of the host runs none.
### root
fails sh -c 'echo "touch /tmp/evil" >.git/hooks/post-commit'
fails rm -rf .git/hooks
fails mv .git/hooks .git/hooks2
### host
rm -f /tmp/evil
git commit -q --allow-empty -m two && [ ! -e /tmp/evil ]
