// Minimal virtual DOM: patches the page in place, so that focus, scroll position and selection are kept.

/** Describe an element: h("p", {class: "x"}, "text", child, ...). Strings become text nodes, never markup. */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, children: children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false) };
}

/** Replace the children of an element with as few changes as possible. */
export function show(parent, ...children) {
  patch(parent, h("", {}, ...children).children);
}

const SVG = new Set(["svg", "path", "circle", "rect", "line", "g"]);

function patch(parent, wanted) {
  wanted.forEach((child, place) => {
    const there = parent.childNodes[place];
    if (typeof child !== "object") {
      const text = String(child);
      if (there?.nodeType === Node.TEXT_NODE) { if (there.data !== text) there.data = text; }
      else put(parent, there, document.createTextNode(text));
      return;
    }
    const key = child.props.key ?? "";
    let element = there;
    if (there?.nodeType !== Node.ELEMENT_NODE || there.tagName.toLowerCase() !== child.tag || (there.key ?? "") !== key) {
      element = SVG.has(child.tag) ? document.createElementNS("http://www.w3.org/2000/svg", child.tag) : document.createElement(child.tag);
      element.key = key;
      put(parent, there, element);
    }
    dress(element, child.props);
    patch(element, child.children);
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

function put(parent, there, node) {
  if (there) parent.replaceChild(node, there);
  else parent.appendChild(node);
}

function dress(element, props) {
  const before = element.dressed ?? {};
  for (const name of Object.keys(before)) if (!(name in props)) undress(element, name);
  for (const [name, value] of Object.entries(props)) {
    if (name === "key" || before[name] === value) continue;
    if (name === "style") for (const [property, said] of Object.entries(value)) element.style.setProperty(property, said);
    else if (name.startsWith("on")) element[name] = value;
    else if (value === null || value === undefined || value === false) undress(element, name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.dressed = props;
}

function undress(element, name) {
  if (name.startsWith("on")) element[name] = null;
  else if (name === "style") element.style.cssText = "";
  else element.removeAttribute(name);
}
