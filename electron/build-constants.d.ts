/** Put in by the bundler from package.json. */
declare const PINSCOPE_VERSION: string;
/** The Electron that users get. */
declare const PINSCOPE_ELECTRON: string;
