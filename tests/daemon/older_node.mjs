// A package below js-ipfs calls Promise.withResolvers, which Node has from version 22 on; the rest of it runs on 20.
Promise.withResolvers ??= function () {
  const parts = {}
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}
