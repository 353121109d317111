/**
 * Every action of the window as data: id, title, key, place in the menu. The menu, the key handler and the help are made from
 * it; what a command does is in the renderer, or in the shell for those marked so.
 */
export interface CommandDefinition {
  readonly title: string;
  /** Keys as Electron writes them (`CmdOrCtrl+R`), `null`: none. */
  readonly key: string | null;
  /** A character that does the same where nothing is being typed. */
  readonly character?: string;
  readonly menu: 'File' | 'Edit' | 'View' | 'Go' | 'Map' | 'Capture' | 'Help';
  /** Done by the shell with a role of Electron's own menu. */
  readonly role?: 'quit' | 'close' | 'zoomIn' | 'zoomOut' | 'resetZoom' | 'togglefullscreen';
}

export const COMMANDS = {
  'file.openRecording': { title: 'Open the Recorded Example', key: 'CmdOrCtrl+O', menu: 'File' },
  'file.openSession': { title: 'Open a Session…', key: 'CmdOrCtrl+Shift+O', menu: 'File' },
  'file.saveRedacted': { title: 'Save a Redacted Copy of the Session', key: null, menu: 'File' },
  'file.close': { title: 'Close Window', key: 'CmdOrCtrl+W', menu: 'File', role: 'close' },
  'file.quit': { title: 'Quit', key: 'CmdOrCtrl+Q', menu: 'File', role: 'quit' },
  'table.copyCell': { title: 'Copy Cell', key: 'CmdOrCtrl+Alt+C', menu: 'Edit' },
  // Ctrl+C is the table's own, so that it stays the field's where a text is marked.
  'table.copyRow': { title: 'Copy Row (tab-separated)', key: null, menu: 'Edit' },
  'table.copyTsv': { title: 'Copy Table as TSV', key: null, menu: 'Edit' },
  'table.copyJson': { title: 'Copy Table as JSON', key: null, menu: 'Edit' },
  'table.copyMarkdown': { title: 'Copy Table as Markdown', key: 'CmdOrCtrl+Shift+C', menu: 'Edit' },
  'view.filter': { title: 'Filter Resources', key: 'CmdOrCtrl+F', menu: 'View' },
  'filter.applyCell': { title: 'Apply Cell as Filter', key: 'CmdOrCtrl+Shift+F', menu: 'View' },
  'filter.excludeCell': { title: 'Exclude Cell by Filter', key: 'CmdOrCtrl+Shift+E', menu: 'View' },
  'filter.addCell': { title: 'Add Cell to Filter', key: null, menu: 'View' },
  'filter.clear': { title: 'Clear the Filter', key: null, menu: 'View' },
  'view.palette': { title: 'Find a Command…', key: 'CmdOrCtrl+K', menu: 'View' },
  'view.savePicture': { title: 'Save a Picture of the View…', key: 'CmdOrCtrl+Shift+S', menu: 'View' },
  'view.theme': { title: 'Switch Theme: System, Light, Dark', key: 'CmdOrCtrl+Shift+L', menu: 'View' },
  'view.zoomIn': { title: 'Zoom In', key: 'CmdOrCtrl+=', menu: 'View', role: 'zoomIn' },
  'view.zoomOut': { title: 'Zoom Out', key: 'CmdOrCtrl+-', menu: 'View', role: 'zoomOut' },
  'view.resetZoom': { title: 'Actual Size', key: 'CmdOrCtrl+0', menu: 'View', role: 'resetZoom' },
  'view.fullScreen': { title: 'Full Screen', key: 'F11', menu: 'View', role: 'togglefullscreen' },
  'go.processes': { title: 'Go to Processes', key: 'Alt+1', menu: 'Go' },
  'go.overview': { title: 'Go to Overview', key: 'Alt+0', menu: 'Go' },
  'go.resources': { title: 'Go to Resources', key: 'Alt+2', menu: 'Go' },
  'go.runs': { title: 'Go to Page Runs', key: 'Alt+3', menu: 'Go' },
  'go.findings': { title: 'Go to Findings', key: 'Alt+4', menu: 'Go' },
  'go.host': { title: 'Go to Host Memory', key: 'Alt+5', menu: 'Go' },
  'go.timeline': { title: 'Go to Timeline', key: 'Alt+8', menu: 'Go' },
  'go.sources': { title: 'Go to Sources and Rights', key: 'Alt+6', menu: 'Go' },
  'go.map': { title: 'Go to Page Map', key: 'Alt+7', menu: 'Go' },
  'map.zoomIn': { title: 'Zoom the Map In', key: null, menu: 'Map' },
  'map.zoomOut': { title: 'Zoom the Map Out', key: null, menu: 'Map' },
  'map.fitAll': { title: 'Show All of the Map', key: null, menu: 'Map' },
  'map.fitSelection': { title: 'Fit the Map to the Selection', key: null, menu: 'Map' },
  'map.nextDisconnected': { title: 'Next Disconnected Page', key: null, menu: 'Map' },
  'map.previousDisconnected': { title: 'Previous Disconnected Page', key: null, menu: 'Map' },
  'map.nextFinding': { title: 'Next Page of a Buffer with a Finding', key: null, menu: 'Map' },
  'map.host': { title: 'Map Host Page Frames', key: null, menu: 'Map' },
  'map.guest': { title: 'Map Guest Memory', key: null, menu: 'Map' },
  'map.colourResource': { title: 'Colour the Map by Resource', key: null, menu: 'Map' },
  'map.colourZone': { title: 'Colour the Map by Zone', key: null, menu: 'Map' },
  'map.colourNode': { title: 'Colour the Map by Node', key: null, menu: 'Map' },
  'map.colourMigratetype': { title: 'Colour the Map by Migratetype', key: null, menu: 'Map' },
  'map.colourFolio': { title: 'Colour the Map by Folio Size', key: null, menu: 'Map' },
  'map.colourAge': { title: 'Colour the Map by Age', key: null, menu: 'Map' },
  'map.colourBacking': { title: 'Colour the Map by Backing', key: null, menu: 'Map' },
  'capture.pause': { title: 'Pause or Continue', key: 'CmdOrCtrl+P', menu: 'Capture' },
  'file.record': { title: 'Record or Stop Recording', key: 'CmdOrCtrl+E', menu: 'Capture' },
  'replay.play': { title: 'Play or Pause the Recording', key: null, menu: 'Capture' },
  'replay.previous': { title: 'Previous Sample', key: 'Alt+,', menu: 'Capture' },
  'replay.next': { title: 'Next Sample', key: 'Alt+.', menu: 'Capture' },
  'replay.first': { title: 'First Sample', key: 'Alt+Home', menu: 'Capture' },
  'replay.last': { title: 'Last Sample', key: 'Alt+End', menu: 'Capture' },
  'replay.live': { title: 'Back to the Live Process', key: 'CmdOrCtrl+J', menu: 'Capture' },
  'capture.refresh': { title: 'Look for Processes Again', key: 'F5', menu: 'Capture' },
  'capture.grant': { title: 'Grant Access to Pages…', key: 'CmdOrCtrl+G', menu: 'Capture' },
  'capture.revoke': { title: 'Give Access Back', key: null, menu: 'Capture' },
  'help.keys': { title: 'Keyboard Shortcuts', key: 'F1', character: '?', menu: 'Help' },
} as const satisfies Record<string, CommandDefinition>;

export type CommandId = keyof typeof COMMANDS;
