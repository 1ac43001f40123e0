// The package @anycable/serverless-js imports its own folders by name, which Node.js doesn't resolve.

/** A hook of `node:module`. */
export function resolve(specifier, context, next) {
  const isFolder = specifier.startsWith('.') && context.parentURL?.includes('/@anycable/serverless-js/');
  return next(isFolder ? `${specifier}/index.js` : specifier, context);
}
