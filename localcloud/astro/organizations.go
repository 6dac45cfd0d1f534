package astro

import (
	"cmp"
	"slices"
)

func (s *Service) listOrganizations(c *call) (any, error) {
	all := []any{s.organizationBody(s.organizations[c.caller.organization])}
	part, offset, limit, err := page(c, all)
	return map[string]any{"organizations": part, "offset": offset, "limit": limit, "totalCount": len(all)}, err
}

func (s *Service) getOrganization(c *call) (any, error) {
	return s.organizationBody(c.organization), nil
}

func (s *Service) organizationBody(o *organization) any {
	at := o.created.Format(timeFormat)
	return map[string]any{
		"id": o.ID, "name": o.Name, "product": o.Product, "status": "ACTIVE", "supportPlan": "TRIAL", "isScimEnabled": false,
		"createdAt": at, "updatedAt": at, "createdBy": subject(""), "updatedBy": subject(""),
	}
}

func (s *Service) listWorkspaces(c *call) (any, error) {
	var all []*workspace
	query := c.URL.Query()
	for _, w := range s.workspaces {
		if w.organization == c.organization.ID && s.seesWorkspace(c.caller, w.id) && chosen(query["workspaceIds"], w.id) &&
			chosen(query["names"], w.name) {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b *workspace) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	part, offset, limit, err := page(c, all)
	if err != nil {
		return nil, err
	}
	bodies := make([]any, len(part))
	for i, w := range part {
		bodies[i] = s.workspaceBody(w)
	}
	return map[string]any{"workspaces": bodies, "offset": offset, "limit": limit, "totalCount": len(all)}, nil
}

func (s *Service) getWorkspace(c *call) (any, error) {
	id := c.PathValue("workspace")
	w := s.workspaces[id]
	switch {
	case w == nil || w.organization != c.organization.ID:
		return nil, errNotFound("Workspace", id)
	case !s.seesWorkspace(c.caller, id):
		return nil, errForbidden()
	}
	return s.workspaceBody(w), nil
}

func (s *Service) workspaceBody(w *workspace) any {
	at := w.created.Format(timeFormat)
	return map[string]any{
		"id": w.id, "name": w.name, "organizationId": w.organization, "organizationName": s.organizations[w.organization].Name,
		"cicdEnforcedDefault": false, "description": "", "createdAt": at, "updatedAt": at, "createdBy": subject(""), "updatedBy": subject(""),
	}
}
