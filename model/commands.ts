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
  readonly menu: 'File' | 'Edit' | 'View' | 'Go' | 'Map' | 'Findings' | 'Capture' | 'Help';
  /** Done by the shell with a role of Electron's own menu. */
  readonly role?: 'quit' | 'close' | 'zoomIn' | 'zoomOut' | 'resetZoom' | 'togglefullscreen';
}

export const COMMANDS = {
  'file.openRecording': { title: 'Open the recorded example', key: 'CmdOrCtrl+O', menu: 'File' },
  'file.openSession': { title: 'Open a session…', key: 'CmdOrCtrl+Shift+O', menu: 'File' },
  'file.saveRedacted': { title: 'Save a redacted copy of the session', key: null, menu: 'File' },
  'file.close': { title: 'Close window', key: 'CmdOrCtrl+W', menu: 'File', role: 'close' },
  'file.quit': { title: 'Quit', key: 'CmdOrCtrl+Q', menu: 'File', role: 'quit' },
  'table.copyCell': { title: 'Copy cell', key: 'CmdOrCtrl+Alt+C', menu: 'Edit' },
  // Ctrl+C is the table's own, so that it stays the field's where a text is marked.
  'table.copyRow': { title: 'Copy row (tab-separated)', key: null, menu: 'Edit' },
  'table.copyTsv': { title: 'Copy table as TSV', key: null, menu: 'Edit' },
  'table.copyJson': { title: 'Copy table as JSON', key: null, menu: 'Edit' },
  'table.copyMarkdown': { title: 'Copy table as Markdown', key: 'CmdOrCtrl+Shift+C', menu: 'Edit' },
  'view.filter': { title: 'Filter resources', key: 'CmdOrCtrl+F', menu: 'View' },
  'filter.applyCell': { title: 'Apply cell as filter', key: 'CmdOrCtrl+Shift+F', menu: 'View' },
  'filter.excludeCell': { title: 'Exclude cell by filter', key: 'CmdOrCtrl+Shift+E', menu: 'View' },
  'filter.addCell': { title: 'Add cell to filter', key: null, menu: 'View' },
  'filter.clear': { title: 'Clear the filter', key: null, menu: 'View' },
  'view.palette': { title: 'Find a command…', key: 'CmdOrCtrl+K', menu: 'View' },
  'view.savePicture': { title: 'Save a picture of the view…', key: 'CmdOrCtrl+Shift+S', menu: 'View' },
  'view.theme': { title: 'Switch theme: system, light, dark', key: 'CmdOrCtrl+Shift+L', menu: 'View' },
  'view.zoomIn': { title: 'Zoom in', key: 'CmdOrCtrl+=', menu: 'View', role: 'zoomIn' },
  'view.zoomOut': { title: 'Zoom out', key: 'CmdOrCtrl+-', menu: 'View', role: 'zoomOut' },
  'view.resetZoom': { title: 'Actual size', key: 'CmdOrCtrl+0', menu: 'View', role: 'resetZoom' },
  'view.fullScreen': { title: 'Full screen', key: 'F11', menu: 'View', role: 'togglefullscreen' },
  'go.processes': { title: 'Go to Processes', key: 'Alt+1', menu: 'Go' },
  'go.overview': { title: 'Go to Overview', key: 'Alt+0', menu: 'Go' },
  'go.resources': { title: 'Go to Resources', key: 'Alt+2', menu: 'Go' },
  'go.runs': { title: 'Go to Page runs', key: 'Alt+3', menu: 'Go' },
  'go.map': { title: 'Go to Page map', key: 'Alt+7', menu: 'Go' },
  'go.findings': { title: 'Go to Findings', key: 'Alt+4', menu: 'Go' },
  'go.host': { title: 'Go to Host memory', key: 'Alt+5', menu: 'Go' },
  'go.timeline': { title: 'Go to Timeline', key: 'Alt+8', menu: 'Go' },
  'go.sources': { title: 'Go to Sources and rights', key: 'Alt+6', menu: 'Go' },
  'map.zoomIn': { title: 'Zoom the map in', key: null, menu: 'Map' },
  'map.zoomOut': { title: 'Zoom the map out', key: null, menu: 'Map' },
  'map.fitAll': { title: 'Show all of the map', key: null, menu: 'Map' },
  'map.fitSelection': { title: 'Fit the map to the selection', key: null, menu: 'Map' },
  'map.nextDisconnected': { title: 'Next disconnected page', key: null, menu: 'Map' },
  'map.previousDisconnected': { title: 'Previous disconnected page', key: null, menu: 'Map' },
  'map.nextFinding': { title: 'Next page of a buffer with a finding', key: null, menu: 'Map' },
  'map.host': { title: 'Map host page frames', key: null, menu: 'Map' },
  'map.guest': { title: 'Map guest memory', key: null, menu: 'Map' },
  'map.colourResource': { title: 'Colour the map by resource', key: null, menu: 'Map' },
  'map.colourZone': { title: 'Colour the map by zone', key: null, menu: 'Map' },
  'map.colourNode': { title: 'Colour the map by node', key: null, menu: 'Map' },
  'map.colourMigratetype': { title: 'Colour the map by migratetype', key: null, menu: 'Map' },
  'map.colourFolio': { title: 'Colour the map by folio size', key: null, menu: 'Map' },
  'map.colourAge': { title: 'Colour the map by age', key: null, menu: 'Map' },
  'map.colourBacking': { title: 'Colour the map by backing', key: null, menu: 'Map' },
  'finding.next': { title: 'Next finding', key: 'F8', menu: 'Findings' },
  'finding.previous': { title: 'Previous finding', key: 'Shift+F8', menu: 'Findings' },
  'finding.show': { title: 'Show what the finding is about', key: 'CmdOrCtrl+Enter', menu: 'Findings' },
  'finding.copyRecheck': { title: 'Copy the recheck lines', key: 'CmdOrCtrl+Alt+R', menu: 'Findings' },
  'finding.mute': { title: 'Mute or unmute the rule', key: 'CmdOrCtrl+M', menu: 'Findings' },
  'capture.pause': { title: 'Pause or continue', key: 'CmdOrCtrl+P', menu: 'Capture' },
  'file.record': { title: 'Record or stop recording', key: 'CmdOrCtrl+E', menu: 'Capture' },
  'replay.play': { title: 'Play or pause the recording', key: null, menu: 'Capture' },
  'replay.previous': { title: 'Previous sample', key: 'Alt+,', menu: 'Capture' },
  'replay.next': { title: 'Next sample', key: 'Alt+.', menu: 'Capture' },
  'replay.first': { title: 'First sample', key: 'Alt+Home', menu: 'Capture' },
  'replay.last': { title: 'Last sample', key: 'Alt+End', menu: 'Capture' },
  'replay.live': { title: 'Back to the live process', key: 'CmdOrCtrl+J', menu: 'Capture' },
  'capture.refresh': { title: 'Look for processes again', key: 'F5', menu: 'Capture' },
  'capture.grant': { title: 'Grant access to pages…', key: 'CmdOrCtrl+G', menu: 'Capture' },
  'capture.revoke': { title: 'Give access back', key: null, menu: 'Capture' },
  'help.keys': { title: 'Keyboard shortcuts', key: 'F1', character: '?', menu: 'Help' },
} as const satisfies Record<string, CommandDefinition>;

export type CommandId = keyof typeof COMMANDS;
