abi <abi/4.0>,
include <tunables/global>

# Of the program itself: the launcher beside it needs no user namespaces.
profile "${executable}" "/opt/${sanitizedProductName}/${executable}-window" flags=(unconfined) {
  userns,

  # Site-specific additions and overrides. See local/README for details.
  include if exists <local/${executable}>
}
