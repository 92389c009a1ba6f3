# The guest plants files that the shell loads: direnv, mise, asdf.
# Must: the user is told of each.
### claude
plant hgrepo/.hg/hgrc .envrc a/.direnv/x mise.toml .mise.toml .mise/x mise.local.toml .tool-versions
### host
reported hgrepo/.hg/hgrc .envrc a/.direnv mise.toml .mise.toml .mise mise.local.toml .tool-versions
